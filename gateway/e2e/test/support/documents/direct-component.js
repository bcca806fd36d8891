// Source 002's "React Example", as it stands but for its types; JSX is written out as the calls it stands for.

import { createElement as h, useEffect, useState } from '../react.js';

/** The component, in a world where `io` is this one. */
export function chatComponent({ io }) {
  return function ChatComponent({ token, otherUserId }) {
    const [socket, setSocket] = useState(null);
    const [messages, setMessages] = useState([]);
    const [inputMessage, setInputMessage] = useState('');

    useEffect(() => {
      // Connect to WebSocket
      const newSocket = io('http://localhost:3000', {
        auth: { token }
      });

      // Listen for incoming messages
      newSocket.on('receive_message', (message) => {
        setMessages(prev => [...prev, message]);
      });

      // Load conversation history
      newSocket.emit('get_messages', { otherUserId });

      newSocket.on('messages_list', (msgs) => {
        setMessages(msgs);
      });

      setSocket(newSocket);

      return () => {
        newSocket.close();
      };
    }, [token, otherUserId]);

    const sendMessage = () => {
      if (socket && inputMessage.trim()) {
        socket.emit('send_message', {
          receiverId: otherUserId,
          content: inputMessage
        });
        setInputMessage('');
      }
    };

    return h('div', null,
      h('div', null,
        messages.map(msg => (
          h('div', { key: msg.id },
            h('strong', null, msg.senderName, ':'), ' ', msg.content
          )
        ))
      ),
      h('input', {
        value: inputMessage,
        onChange: (e) => setInputMessage(e.target.value),
        onKeyPress: (e) => e.key === 'Enter' && sendMessage()
      }),
      h('button', { onClick: sendMessage }, 'Send')
    );
  };
}
