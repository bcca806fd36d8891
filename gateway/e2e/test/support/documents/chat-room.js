// Source 003's "Chat Component Example", as it stands but for its types; JSX is written out as the calls it stands for.

import { createElement as h, useEffect, useRef, useState } from '../react.js';

/** The component, in a world where `useChat` is this one. */
export function chatRoom({ useChat }) {
  return function ChatRoom({ conversationId, currentUserId }) {
    const {
      messages,
      typingUsers,
      onlineUsers,
      sendMessage,
      startTyping,
      stopTyping,
      markAsRead,
      isConnected,
    } = useChat(conversationId);

    const [inputValue, setInputValue] = useState('');
    const typingTimeoutRef = useRef();
    const messagesEndRef = useRef(null);

    // Auto-scroll to bottom
    useEffect(() => {
      messagesEndRef.current?.scrollIntoView({ behavior: 'smooth' });
    }, [messages]);

    const handleInputChange = (e) => {
      setInputValue(e.target.value);

      // Start typing indicator
      startTyping();

      // Clear existing timeout
      if (typingTimeoutRef.current) {
        clearTimeout(typingTimeoutRef.current);
      }

      // Stop typing after 2 seconds of inactivity
      typingTimeoutRef.current = setTimeout(() => {
        stopTyping();
      }, 2000);
    };

    const handleSendMessage = (e) => {
      e.preventDefault();
      if (!inputValue.trim()) return;

      sendMessage(inputValue);
      setInputValue('');
      stopTyping();
    };

    return (
      h('div', { className: 'chat-room' },
        h('div', { className: 'chat-header' },
          h('h2', null, 'Chat Room'),
          h('div', { className: 'connection-status' },
            isConnected ? (
              h('span', { className: 'status-online' }, '🟢 Connected')
            ) : (
              h('span', { className: 'status-offline' }, '🔴 Disconnected')
            )
          )
        ),

        h('div', { className: 'messages-container' },
          messages.map((message) => (
            h('div', {
              key: message._id,
              className: `message ${
                message.sender._id === currentUserId ? 'message-sent' : 'message-received'
              }`
            },
              h('div', { className: 'message-sender' }, message.sender.name),
              h('div', { className: 'message-content' }, message.content),
              h('div', { className: 'message-time' },
                new Date(message.createdAt).toLocaleTimeString(),
                message.sender._id === currentUserId && (
                  h('span', { className: 'message-status' },
                    message.status === 'read' && ' ✓✓',
                    message.status === 'delivered' && ' ✓',
                    message.status === 'sent' && ' ⏱'
                  )
                )
              )
            )
          )),

          typingUsers.length > 0 && (
            h('div', { className: 'typing-indicator' },
              typingUsers.map((u) => u.username).join(', '), ' ', typingUsers.length === 1 ? 'is' : 'are', ' typing...'
            )
          ),

          h('div', { ref: messagesEndRef })
        ),

        h('form', { onSubmit: handleSendMessage, className: 'message-input-form' },
          h('input', {
            type: 'text',
            value: inputValue,
            onChange: handleInputChange,
            placeholder: 'Type a message...',
            className: 'message-input'
          }),
          h('button', { type: 'submit', disabled: !isConnected || !inputValue.trim() },
            'Send'
          )
        )
      )
    );
  };
}
