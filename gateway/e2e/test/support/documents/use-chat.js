// Source 003's "Chat Hook", as it stands but for its types.

import { useCallback, useEffect, useState } from '../react.js';

/** The hook, in a world where `useSocket` is this one. */
export function chatHook({ useSocket }) {
  const useChat = (conversationId) => {
    const { socket, isConnected } = useSocket();
    const [messages, setMessages] = useState([]);
    const [typingUsers, setTypingUsers] = useState([]);
    const [onlineUsers, setOnlineUsers] = useState([]);

    useEffect(() => {
      if (!socket || !conversationId) return;

      // Join the conversation room
      socket.emit('joinRoom', { conversationId });

      // Listen for new messages
      socket.on('newMessage', ({ message, conversationId: convId }) => {
        if (convId === conversationId) {
          setMessages((prev) => [...prev, message]);
        }
      });

      // Listen for typing indicators
      socket.on('userTyping', ({ userId, username, conversationId: convId }) => {
        if (convId === conversationId) {
          setTypingUsers((prev) => {
            if (prev.find((u) => u.userId === userId)) return prev;
            return [...prev, { userId, username }];
          });
        }
      });

      socket.on('userStoppedTyping', ({ userId, conversationId: convId }) => {
        if (convId === conversationId) {
          setTypingUsers((prev) => prev.filter((u) => u.userId !== userId));
        }
      });

      // Listen for read receipts
      socket.on('messageRead', ({ messageId, readBy }) => {
        setMessages((prev) =>
          prev.map((msg) =>
            msg._id === messageId
              ? { ...msg, status: 'read' }
              : msg
          )
        );
      });

      // Listen for online users
      socket.on('onlineUsers', (users) => {
        setOnlineUsers(users);
      });

      socket.on('userStatusChanged', ({ userId, status }) => {
        setOnlineUsers((prev) =>
          status === 'online'
            ? [...new Set([...prev, userId])]
            : prev.filter((id) => id !== userId)
        );
      });

      return () => {
        socket.off('newMessage');
        socket.off('userTyping');
        socket.off('userStoppedTyping');
        socket.off('messageRead');
        socket.off('onlineUsers');
        socket.off('userStatusChanged');
      };
    }, [socket, conversationId]);

    const sendMessage = useCallback(
      (content) => {
        if (!socket || !content.trim()) return;

        const tempId = Date.now().toString();

        socket.emit('sendMessage', {
          conversationId,
          content: content.trim(),
          type: 'text',
          tempId,
        });

        // Optimistic update
        // setMessages((prev) => [...prev, optimisticMessage]);
      },
      [socket, conversationId]
    );

    const startTyping = useCallback(() => {
      if (!socket) return;
      socket.emit('typing', { conversationId });
    }, [socket, conversationId]);

    const stopTyping = useCallback(() => {
      if (!socket) return;
      socket.emit('stopTyping', { conversationId });
    }, [socket, conversationId]);

    const markAsRead = useCallback(
      (messageId) => {
        if (!socket) return;
        socket.emit('markAsRead', { conversationId, messageId });
      },
      [socket, conversationId]
    );

    return {
      messages,
      typingUsers,
      onlineUsers,
      sendMessage,
      startTyping,
      stopTyping,
      markAsRead,
      isConnected,
    };
  };

  return useChat;
}
