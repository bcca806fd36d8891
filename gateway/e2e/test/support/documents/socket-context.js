// Source 003's "Socket Context", as it stands but for its types; JSX is written out as the calls it stands for.

import { createContext, createElement as h, useContext, useEffect, useState } from '../react.js';

/** `useSocket` and `SocketProvider`, in a world of these globals. */
export function socketContext({ io, localStorage, console }) {
  const SocketContext = createContext({
    socket: null,
    isConnected: false,
  });

  const useSocket = () => useContext(SocketContext);

  const SocketProvider = ({ children }) => {
    const [socket, setSocket] = useState(null);
    const [isConnected, setIsConnected] = useState(false);

    useEffect(() => {
      // Get JWT token from localStorage or your auth context
      const token = localStorage.getItem('token');

      if (!token) return;

      // Connect to socket with JWT authentication
      const newSocket = io('http://localhost:3000/chat', {
        auth: {
          token: token,
        },
        transports: ['websocket', 'polling'],
      });

      newSocket.on('connect', () => {
        console.log('Socket connected:', newSocket.id);
        setIsConnected(true);
      });

      newSocket.on('disconnect', () => {
        console.log('Socket disconnected');
        setIsConnected(false);
      });

      newSocket.on('connect_error', (error) => {
        console.error('Socket connection error:', error);
      });

      setSocket(newSocket);

      return () => {
        newSocket.close();
      };
    }, []);

    return (
      h(SocketContext.Provider, { value: { socket, isConnected } },
        children
      )
    );
  };

  return { useSocket, SocketProvider };
}
